"""Sources of cases: lists, tables and folders, divided by patient."""
