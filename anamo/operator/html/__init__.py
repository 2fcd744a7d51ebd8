"""The report page: one self-contained HTML file about the steps of a workflow."""
