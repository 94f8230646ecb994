"""Encoders put to use with labels or a teacher."""
