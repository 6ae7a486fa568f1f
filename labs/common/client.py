"""The ways in which an OpenAI client asks a served model, side by side: they have to agree.

python ../../common/client.py --url URL --model MODEL --rows QUESTIONS.jsonl --stream true --result ways.json
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openai import OpenAI


def main() -> None:
    """One file with all answers, by the way in which they were asked for."""
    parser = argparse.ArgumentParser()
    for name in ("url", "model", "rows", "stream", "result"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    client = OpenAI(base_url=given.url, api_key="EMPTY")
    users = [json.loads(line)["messages"][0] for line in Path(given.rows).read_text().splitlines()]
    settings = {"model": given.model, "temperature": 0, "max_tokens": 32}

    def plain(user: dict) -> str:
        return client.chat.completions.create(messages=[user], **settings).choices[0].message.content

    def streamed(user: dict) -> list[str]:
        if given.stream != "true":
            return [plain(user)]
        chunks = client.chat.completions.create(messages=[user], stream=True, **settings)
        return [text for chunk in chunks if chunk.choices and (text := chunk.choices[0].delta.content)]

    def likely(user: dict) -> tuple[str, list[float]]:
        choice = client.chat.completions.create(messages=[user], logprobs=True, **settings).choices[0]
        return choice.message.content, [token["logprob"] for token in choice.model_dump()["logprobs"]["content"]]

    alone = [plain(user) for user in users]
    with ThreadPoolExecutor(len(users)) as pool:
        together = list(pool.map(plain, users))
    pieces = [streamed(user) for user in users]
    counted = [likely(user) for user in users]
    answers = {
        "alone": alone,
        "all at once": together,
        "streamed": ["".join(parts) for parts in pieces],
        "with logprobs": [text for text, _ in counted],
    }
    result = {
        "models": [model.id for model in client.models.list().data],
        "answers": answers,
        "pieces": [len(parts) for parts in pieces],
        "logprobs": [values for _, values in counted],
    }
    Path(given.result).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
