"""The two variant encodings of .nd2 metadata: bytes to `Level` trees and back."""
