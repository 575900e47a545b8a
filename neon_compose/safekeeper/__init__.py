"""A safekeeper: the durable WAL of running branches. Its part in the term protocol is in neon_compose.terms.

__main__  composition root: /safekeeper in, HTTP on port 6401 out (app)
service   the branches that are kept, in a volume
keeper    one branch: the term protocol carried out on its record and its wal, one change at a time
segments  the WAL of one branch and term on disk
receiver  the supervised pg_receivewal that fills it: subject (whose WAL), condition, flushes (how far it is)
peers     copying WAL from other safekeepers
"""
