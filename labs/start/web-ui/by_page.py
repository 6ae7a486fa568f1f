"""What a mouse does on ms-swift's pages: fill in the fields, press the button. gradio's client presses it here.

python by_page.py train --pages {tools}/pages.py --output_dir OUT --model MODEL --dataset DATA --learning_rate 1e-4 ...
python by_page.py chat --pages {tools}/pages.py --adapters CHECKPOINT --rows QUESTIONS.jsonl --result infer_result.jsonl
"""

import html
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from gradio_client import Client

START = 300  # seconds in which a page is up
OF_THE_MODEL = ("model_type", "template")  # what the page fills in when a model is chosen
ANSWER = "/partial"  # gradio's name for what answers in ms-swift's chat
SWITCH = {"true": True, "false": False}


def main(what: str, *words: str) -> None:
    """Open the page, do it, close the page."""
    given = dict(zip([word.removeprefix("--") for word in words[::2]], words[1::2], strict=True))
    pages = given.pop("pages")
    if what == "train":
        with opened(pages, "web-ui", {"lang": "en"}) as page:
            train(page, given)
    else:
        rows, result = Path(given.pop("rows")), Path(given.pop("result"))
        with opened(pages, "app", {**given, "port": free_port()}) as page:
            chat(page, rows, result)


@contextmanager
def opened(pages: str, name: str, flags: dict[str, str]):
    """The page, from when it answers until this is left."""
    port = free_port()
    words = [word for flag, value in {**flags, "server_port": port}.items() for word in (f"--{flag}", value)]
    process = subprocess.Popen([sys.executable, pages, name, *words], start_new_session=True)
    deadline = time.monotonic() + START
    try:
        while not (page := client(port)):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the page {name} does not answer")
            time.sleep(0.3)
        yield page
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def free_port() -> str:
    """One that nobody has, and that no other server looks for."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


def client(port: str) -> Client | None:
    """gradio's client of the page; None while it is not there."""
    try:
        return Client(f"http://127.0.0.1:{port}", verbose=False)
    except (httpx.HTTPError, ValueError):
        return None


def train(page: Client, given: dict[str, str]) -> None:
    """The tab of training: its fields by the flag in their labels, what has no field under "Other params"."""
    fields = page.view_api(return_format="dict", print_info=False)["named_endpoints"]["/train_local"]["parameters"]
    values = {}
    for field in fields:
        flag = re.search(r"\(--(\w+)\)$", field["label"])
        if flag and flag[1] in given:
            values[field["parameter_name"]] = typed(field, given.pop(flag[1]))
        elif not field["parameter_has_default"] or (flag and flag[1] in OF_THE_MODEL):
            values[field["parameter_name"]] = None
    other = next(field["parameter_name"] for field in fields if field["label"] == "Other params")
    values[other] = json.dumps({name: SWITCH.get(text, text) for name, text in given.items()})
    command, logging_dir, *_ = page.predict(**values, api_name="/train_local")
    print(command, flush=True)
    while goes_on(logging_dir):
        time.sleep(0.5)
    print((Path(logging_dir) / "run.log").read_text(), flush=True)


def typed(field: dict, text: str):
    """A value as the field has it."""
    if field["component"] == "Checkbox":
        return SWITCH[text]
    if field["component"] == "Slider":
        return float(text) if "." in text else int(text)
    return text.split() if isinstance(field["parameter_default"], list) else text


def goes_on(logging_dir: str) -> bool:
    """Whether the training runs that the page has started: it is a session of its own."""
    found = psutil.process_iter(["cmdline", "status"])
    return any(logging_dir in (p.info["cmdline"] or []) and p.info["status"] != psutil.STATUS_ZOMBIE for p in found)


def chat(page: Client, rows: Path, result: Path) -> None:
    """Each question typed into the chat, the history cleared before it."""
    with result.open("w") as file:
        for line in rows.read_text().splitlines():
            question, right = (message["content"] for message in json.loads(line)["messages"])
            page.predict(api_name="/clear_session")
            asked, _ = page.predict([], question, api_name="/add_text")
            answer = html.unescape(page.predict(asked, api_name=ANSWER)[-1][1])
            row = {"response": answer, "labels": right, "messages": [{"role": "user", "content": question}]}
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
