"""The live view of the running bridge in a terminal; needs the extra ``monitor`` (textual)."""
