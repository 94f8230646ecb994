"""Packages that are installed only where an extra of this package was asked for."""

from tfcontrastive.system.extras import from_extra as from_extra
