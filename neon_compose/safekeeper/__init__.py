"""A safekeeper: the durable WAL of running branches. Its part in the term protocol is in neon_compose.terms.

segments  the WAL of one branch and term on disk
receiver  the supervised pg_receivewal that fills it: subject (whose WAL), condition (how it is)
"""
