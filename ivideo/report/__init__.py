"""What people look at: pages that open from disk, and plots."""
