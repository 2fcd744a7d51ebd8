"""The report: one self-contained HTML file about the steps of a workflow."""
