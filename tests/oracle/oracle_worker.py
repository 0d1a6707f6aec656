"""Runs inside `.venv-optimum`: what transformers, peft and optimum say about models that edge wrote down.

`python oracle_worker.py REQUEST.json`. REQUEST is a list of jobs, done in one process because importing torch takes
longer than a tiny model; each job writes into its own `out` folder, and `error.txt` there if it fails.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

Job = dict[str, Any]


def logits_of(model: Any, ids: list[int]) -> np.ndarray:
    """[n, vocab] float32."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().numpy()


def decoder(job: Job, out: Path) -> None:
    """Logits of a folder's model, and optimum's export of it. Job: folder, ids, route (optimum_worker.py)."""
    spec = importlib.util.spec_from_file_location("optimum_worker", job["route"])
    route = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(route)
    model = route.load_model(job["folder"])
    np.savez(out / "logits.npz", logits=logits_of(model, job["ids"]))
    route.export(model, model.config.model_type, out / "export")


def adapter(job: Job, out: Path) -> None:
    """A random LoRA adapter, saved and merged by peft. Job: folder, settings of LoraConfig."""
    import peft

    torch.manual_seed(3)
    base = transformers.AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32)
    base.name_or_path = ""
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **job["settings"]))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:  # peft starts them at zero, which would change nothing
                value.normal_(std=0.3)
    # By default peft adds a copy of an untied head that is adapted, which edge's reader refuses to take for a factor.
    model.save_pretrained(out / "adapter", safe_serialization=True)
    merged = model.merge_and_unload()
    np.savez(out / "merged.npz", **{name: value.numpy() for name, value in merged.state_dict().items()})


def tiny_gpt2(job: Job, out: Path) -> None:
    """A GPT-2 with random weights large enough to make its answers differ. Job: vocab_size, ids."""
    torch.manual_seed(5)
    config = transformers.GPT2Config(
        vocab_size=job["vocab_size"], n_positions=2048, n_embd=64, n_layer=2, n_head=4, bos_token_id=3, eos_token_id=2
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim == 2:
                value.normal_(std=0.15)
    model.save_pretrained(out / "gpt2", safe_serialization=True)
    np.savez(out / "logits.npz", logits=logits_of(model, job["ids"]))


def gguf(job: Job, out: Path) -> None:
    """Transformers' own reader of a GGUF: tokens, chat, logits. Job: folder, file, texts, chats, ids."""
    from transformers import modeling_gguf_pytorch_utils as reader

    # Config, model and tokenizer each parse all metadata again: 10 s each, for the same answer.
    parse, parsed = reader.load_gguf_checkpoint, {}

    def once(path: str, return_tensors: bool = False, model_to_load: Any = None) -> Any:
        if (path, return_tensors) not in parsed:
            parsed[path, return_tensors] = parse(path, return_tensors, model_to_load)
        return parsed[path, return_tensors]

    for module in list(sys.modules.values()):
        if getattr(module, "load_gguf_checkpoint", None) is parse:
            module.load_gguf_checkpoint = once
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"], gguf_file=job["file"])
    answers: dict[str, Any] = {
        "texts": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in job["texts"]],
        "chats": _chats(tokenizer, job["chats"]),
        "rendered": [tokenizer.apply_chat_template(chat, tokenize=False, **GENERATE) for chat in job["chats"]],
    }
    (out / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        job["folder"], gguf_file=job["file"], dtype=torch.float32
    ).eval()
    np.savez(out / "logits.npz", logits=logits_of(model, job["ids"]))


def chat(job: Job, out: Path) -> None:
    """Transformers' chat rendering with a given tokenizer.json. Job: tokenizer, template, bos, eos, texts, chats."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=job["tokenizer"], bos_token=job["bos"], eos_token=job["eos"], chat_template=job["template"]
    )
    answers = {
        "texts": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in job["texts"]],
        "chats": _chats(tokenizer, job["chats"]),
    }
    (out / "answers.json").write_text(json.dumps(answers), encoding="utf-8")


GENERATE = {"add_generation_prompt": True}


def _chats(tokenizer: Any, chats: list[list[dict[str, str]]]) -> list[list[int]]:
    return [tokenizer.apply_chat_template(chat, tokenize=True, **GENERATE) for chat in chats]


JOBS = {function.__name__: function for function in (decoder, adapter, tiny_gpt2, gguf, chat)}


def main(request: str) -> None:
    """Do every job; a failing one leaves its traceback where its test looks for it."""
    torch.set_num_threads(2)
    for job in json.loads(Path(request).read_text(encoding="utf-8")):
        out = Path(job["out"])
        out.mkdir(parents=True, exist_ok=True)
        try:
            JOBS[job["kind"]](job, out)
        except Exception:  # noqa: BLE001  (whatever it is, the job's own test shows it)
            (out / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
