"""The item in the desktop's tray: shows how the bridge is, and steers it by a menu."""
