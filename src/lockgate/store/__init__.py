"""Content-addressed bytes: files, directory trees and results by identity, each written whole or not at all."""
