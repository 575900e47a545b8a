"""Messages and typed clients between components: `rest` is the public API, `pageserver` the internal one."""
