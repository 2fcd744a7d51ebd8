"""The report: one self-contained HTML file about the steps of a workflow.

`report_file` reads the tables and writes the file; `step_data` collects; `render` and report.html
make the page. What the page's script draws is in `item_row`, `page_data` and `timeline`, as JSON.
"""
