"""A web server on 127.0.0.1 that misbehaves on demand, and counts who asked for what."""

import tempfile
import threading
from collections import Counter
from fractions import Fraction
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import av
import numpy as np

RATE = 44100
HTML = b"<!DOCTYPE html><html><head><title>Log in</title></head><body>Please log in.</body></html>"


@cache
def movie(seconds: int = 6, fps: int = 10, key_every: int = 20) -> bytes:
    """MP4, H.264 64x64 and AAC. Brightness rises with time: mean of the frame at t seconds is about 255 t / seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.mp4"
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "28"})
            video.width, video.height, video.pix_fmt, video.gop_size = 64, 64, "yuv420p", key_every
            audio = container.add_stream("aac", rate=RATE)
            sound = (8000 * np.sin(np.arange(seconds * RATE) * 2 * np.pi * 440 / RATE)).astype(np.int16)
            for index in range(seconds * fps):
                shade = round(255 * index / (seconds * fps))
                frame: Any = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, fps)
                container.mux(video.encode(frame))
                begin = index * RATE // fps
                wave = sound[None, begin : begin + RATE // fps]
                part: Any = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                part.sample_rate, part.pts, part.time_base = RATE, begin, Fraction(1, RATE)
                container.mux(audio.encode(part))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))
        return path.read_bytes()


class BadServer:
    """`with BadServer() as server: server.url("truncated.mp4")`. The names are the methods of _Handler below.

    asked: requests by name. Any name may carry a query, which makes it another URL of the same behaviour.
    """

    def __enter__(self) -> "BadServer":
        self.asked: Counter[str] = Counter()
        self.closing = threading.Event()
        movie()  # not while a client waits for it
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self  # type: ignore[attr-defined]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.owner: BadServer = self.server.owner  # type: ignore[attr-defined]
        name = self.path.split("?")[0].lstrip("/")
        self.owner.asked[name] += 1
        behaviour = getattr(self, name.split(".")[0].split("/")[0], self.absent)
        try:
            behaviour()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def good(self) -> None:
        self._send(movie())

    def elsewhere(self) -> None:
        """/elsewhere.mp4?to=URL"""
        self._answer(302, {"Location": unquote(self.path.partition("?to=")[2])})

    def moved(self) -> None:
        """/moved/3.mp4 -> /moved/2.mp4 -> /moved/1.mp4 -> /good.mp4"""
        left = int(self.path.split("/")[-1].split(".")[0]) - 1
        self._answer(301, {"Location": f"/moved/{left}.mp4" if left else "/good.mp4"})

    def loop(self) -> None:
        self._answer(301, {"Location": "/loop.mp4"})

    def unauthorised(self) -> None:
        self._answer(401)

    def forbidden(self) -> None:
        self._answer(403)

    def absent(self) -> None:
        self._answer(404)

    def gone(self) -> None:
        self._answer(410)

    def busy(self) -> None:
        """429 once, for a second; then the movie."""
        if self.owner.asked["busy.mp4"] == 1:
            self._answer(429, {"Retry-After": "1"})
        else:
            self._send(movie())

    def blocked(self) -> None:
        self._answer(429, {"Retry-After": "3600"})

    def broken(self) -> None:
        self._answer(500)

    def flaky(self) -> None:
        if self.owner.asked["flaky.mp4"] == 1:
            self._answer(503)
        else:
            self._send(movie())

    def silent(self) -> None:
        """Takes the request, never answers."""
        self.owner.closing.wait(60)

    def stalled(self) -> None:
        """Half of the movie, then nothing more over an open connection."""
        self._head(len(movie()))
        self.wfile.write(movie()[: len(movie()) // 2])
        self.owner.closing.wait(60)

    def truncated(self) -> None:
        """Half of what the header promised, then the end."""
        self._head(len(movie()))
        self.wfile.write(movie()[: len(movie()) // 2])

    def endless(self) -> None:
        self._head(None)
        while not self.owner.closing.is_set():
            self.wfile.write(b"\0" * 65536)

    def huge(self) -> None:
        """Says at once that it is too much."""
        self._head(1 << 40)
        self.owner.closing.wait(60)

    def drip(self) -> None:
        self._head(len(movie()))
        for byte in movie():
            self.wfile.write(bytes([byte]))
            if self.owner.closing.wait(0.05):
                return

    def empty(self) -> None:
        self._head(0)

    def html(self) -> None:
        """A web page that calls itself a video."""
        self._send(HTML)

    def page(self) -> None:
        self._send(HTML, "text/html")

    def noise(self) -> None:
        """Bytes that are no media, called a video."""
        self._send(bytes(np.random.default_rng(0).integers(0, 256, 20000, np.uint8)))

    def _answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _head(self, length: int | None, kind: str = "video/mp4") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, body: bytes, kind: str = "video/mp4") -> None:
        """The body, or the part of it that a Range header asks for."""
        asked = self.headers.get("Range", "")
        if not asked.startswith("bytes="):
            self._head(len(body), kind)
            self.wfile.write(body)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
        if begin >= len(body):
            self._answer(416, {"Content-Range": f"bytes */{len(body)}"})
            return
        self.send_response(206)
        self.send_header("Content-Type", kind)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {begin}-{end}/{len(body)}")
        self.send_header("Content-Length", str(end - begin + 1))
        self.end_headers()
        self.wfile.write(body[begin : end + 1])
