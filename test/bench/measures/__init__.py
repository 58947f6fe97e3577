"""What is measured: each module has run(server, report, options)."""
