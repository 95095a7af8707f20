"""Images in and out of bytes. Of ours this imports what needs no other package only,
so that a process that decodes starts fast."""
