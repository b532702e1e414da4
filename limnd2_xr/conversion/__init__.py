"""From other formats to .nd2: images of files, folders and stores, in our terms."""
