"""Every era of client against every era of upstream, through the hub; the table is docs/compatibility.md."""
