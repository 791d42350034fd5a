"""Wire formats, one file each, behind one seam; `registry` finds them by name."""
