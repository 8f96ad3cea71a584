"""What breaks, and what the hub makes of it; tests name the row of the fault matrix that they prove.

`evils` runs a hub in front of upstreams that misbehave as told (`evil_acts`, over HTTP, HTTP+SSE and stdio),
`faultproxy` breaks the way to them, `truth` reads what they wrote down, `histories` joins that with what clients were
told and what is on record, and `baseline` tells what a hub (`watched_hub`) holds, and whether no more afterwards.
"""
