"""Tables and figures. They read payloads and run directories, and compute nothing that could be a result."""
