"""The measures: each module has run(server, report, options)."""
