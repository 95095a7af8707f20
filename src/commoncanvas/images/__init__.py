"""Images in and out of bytes. Of ours this imports the errors only, so that a process that decodes starts fast."""
