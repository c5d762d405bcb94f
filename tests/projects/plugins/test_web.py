import threading
import urllib.request

import app
import pytest
from werkzeug.serving import make_server

flask = pytest.importorskip("flask")


def test_a_server_in_a_thread(db):
    web = flask.Flask("web")

    @web.route("/names")
    def names():
        app.add(2, "web")
        return app.names()

    server = make_server("127.0.0.1", 0, web, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/names") as reply:
            assert b"web" in reply.read()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert web.test_client().get("/unknown").status_code == 404
