"""The server: recordings over HTTP, live sound over WebSocket, and a page for the browser.

    settings.py     what it allows, and to whom         service.py      what every request shares
    access.py       who may come in                     app.py          the addresses
    uploads.py      a form on the wire -> fields, files   orders.py       fields -> an order, checked
    separations.py  orders -> tracks on disk, for a while
    hello.py        the handshake of a stream           waiting.py      the bounded queue of a stream
    session.py      one connection, one `Stream`        metrics.py      counts, in Prometheus' text form
    server.py       sockets, signals, a tidy end        page/           what the browser gets

Only this room and its tests know FastAPI and uvicorn (the extra `serve`).
"""
