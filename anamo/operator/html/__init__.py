"""The report: one self-contained HTML file about the steps of a workflow.

`report_file` reads the tables and writes the file; `step_data` collects; `render` fills in the
template, report.html. What the report's script draws is in `item_row`, `report_data` and
`timeline`, as JSON.

May import: operator, aws and core.
"""
