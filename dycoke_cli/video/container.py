"""Open a video file with PyAV, without access to the network or to other files."""

import os

import av
from av.error import FFmpegError
from av.stream import Disposition

from dycoke_cli.errors import VideoError

# Excluded: playlists (hls, concat, dash, sdp) and numbered images (image2), which make FFmpeg open other files.
# Included: audio formats, so that the error for an audio file is "no video stream" rather than "not a video".
_FORMATS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,asf,flv,ogg,rm,gif,mxf,mxf_opatom,nut,ivf,h264,hevc,vvc,obu,av1,"
    "vc1,dv,wtv,nsv,apng,webp_anim,yuv4mpegpipe,mjpeg,gxf,swf,bink,smk,roq,avs,"
    "mp3,wav,flac,aac,w64,aiff,amr,ape,caf"
)
MAX_STORED_PIXELS = 1 << 26  # of one frame, twice those of 8K; larger frames are made to exhaust memory
_RESYNC_BYTES = 1 << 28  # searched for the next packet of a transport stream; FFmpeg's default is 64 KiB
_MAX_THREADS = 8  # each holds some frames in memory, and more threads bring little
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0\r\n", b"v=0\n", b"<MPD")


def open_container(path: str, name: str) -> "av.container.InputContainer":
    """Open the file at an absolute path. Raise VideoError if it is not a readable video.

    name: how messages call the file. FFmpeg's log level stays at its default: setting it makes PyAV's callback take the
    interpreter lock from decoder threads, which deadlocks when a codec closes.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS, "resync_size": str(_RESYNC_BYTES)}
    try:
        return av.open("file:" + path, options=options, metadata_errors="replace")
    except MemoryError:
        raise
    except (FFmpegError, OSError, ValueError):
        raise _not_a_video(path, name) from None


def video_stream(container: "av.container.InputContainer", name: str) -> "av.video.VideoStream":
    """Return FFmpeg's best video stream, with bounded pixels and threads. Raise VideoError if none can be decoded."""
    moving = moving_streams(container)
    best = container.streams.best("video")
    stream = best if best in moving else (moving[0] if moving else None)
    if stream is None:
        if container.streams.audio:
            raise VideoError(
                f"{name} has no video stream, only sound.", "Give a file with a picture.", reason="no_video"
            )
        raise VideoError(
            f"{name} has no video stream: it is cut off, damaged or another kind of file.",
            "Copy or download it again.",
            reason="no_video",
        )
    if stream.codec_context is None:
        raise VideoError(
            f"{name} holds video of a kind that FFmpeg does not know.",
            "Convert it, for example with ffmpeg -i IN -c:v libx264 OUT.mp4.",
            reason="not_a_video",
        )
    context = stream.codec_context
    if context.width * context.height > MAX_STORED_PIXELS:
        raise VideoError(
            f"{name} holds frames of {context.width}x{context.height}, which would fill the memory.",
            "Make them smaller, for example with ffmpeg -i IN -vf scale=1920:-2 OUT.mp4.",
            reason="too_large",
        )
    context.options = {"max_pixels": str(MAX_STORED_PIXELS)}  # frames may be larger than the header states
    context.thread_count = min(cores(), _MAX_THREADS)
    return stream


def moving_streams(container: "av.container.InputContainer") -> list["av.video.stream.VideoStream"]:
    """Return the video streams, without cover images."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _not_a_video(path: str, name: str) -> VideoError:
    """Build the error for a file that FFmpeg cannot open, with the cause read from its first bytes."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        return VideoError(f"{name} cannot be read: {error.strerror}.", "Check the disk.", reason="not_readable")
    if head.lstrip(b"\xef\xbb\xbf \r\n").startswith(_PLAYLISTS):
        return VideoError(f"{name} is a playlist that names other files.", "Give one of the videos it names.")
    if head[4:8] in (b"ftyp", b"mdat", b"wide"):
        return VideoError(
            f"{name} is cut off or damaged: the index of the mp4 file is missing.", "Copy or download it again."
        )
    return VideoError(f"{name} is not a video that can be read.", "Give a video file, such as mp4, mkv or webm.")
