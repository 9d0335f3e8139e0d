"""One voice per face: a video of people who talk at the same time in, the track of every face out.

find_faces (unmingle.video) --+--> listening.py   separate by ear, then see whose mouth goes with which track
                              +--> watching.py    separate by the lips, with an audio-visual network

clock.py       loudness of tracks on the clock of the faces
agreement.py   how well a mouth and a voice agree over time
assignment.py  which voice belongs to which face, and how sure that is
timeline.py    when a face is heard; fades
rendering.py   videos with these voices; drawing.py marks who speaks
jobs.py        all of it for one recording, as `unmingle separate` wants it
"""
