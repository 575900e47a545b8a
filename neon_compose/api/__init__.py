"""REST on :3000: parse, call one function of the controller, render.

guard     Host, token and size of a request, before anything else looks at it
problems  every error as a problem document
streams   long requests as NDJSON;  upload: a dump that is passed on while it comes
storages, pgs, stack   the routes
app       puts them together;  __main__ is the composition root
"""
