# %% [markdown]
# LaTeX OCR with ms-swift's own classes, as upstream's notebook `examples/notebook/qwen2vl-ocr` has it: model, template,
# LoRA, dataset and trainer are made one by one, and can be looked at. A notebook in cells (`# %%`): VS Code and
# JupyterLab open it as one; `python ocr.py --model MODEL --output_dir FOLDER` runs it.

# %%
import argparse
import os

from peft import LoraConfig, get_peft_model
from swift import get_model_processor, get_template, load_dataset
from swift.dataset import LazyLLMDataset
from swift.trainers import Seq2SeqTrainer, Seq2SeqTrainingArguments
from swift.utils import get_model_parameter_info, get_multimodal_target_regex, seed_everything

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--output_dir", required=True)
parser.add_argument("--dataset", nargs="+", required=True)
parser.add_argument("--learning_rate", type=float, default=1e-4)
parser.add_argument("--lora_rank", type=int, default=8)
parser.add_argument("--per_device_train_batch_size", type=int, default=1)
parser.add_argument("--gradient_accumulation_steps", type=int, default=16)
asked = parser.parse_args()
seed_everything(42)

# %% The model, and the template that makes tokens of its chats and pictures
cpu = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
model, processor = get_model_processor(asked.model, device_map="cpu" if cpu else None)
template = get_template(processor, max_length=2048)
template.set_mode("train")
if template.use_model:
    template.model = model

# %% LoRA on the language model: the vision tower and what joins them stay as they are
target = get_multimodal_target_regex(model, freeze_llm=False, freeze_vit=True, freeze_aligner=True)
model = get_peft_model(
    model,
    LoraConfig(task_type="CAUSAL_LM", r=asked.lora_rank, lora_alpha=2 * asked.lora_rank, target_modules=target),
)
print(get_model_parameter_info(model))

# %% The rows, made into tokens when they are asked for
rows, _ = load_dataset(asked.dataset, seed=42, load_from_cache_file=False)
dataset = LazyLLMDataset(rows, template.encode, random_state=42)
template.print_inputs(dataset[0])

# %% The training
model.enable_input_require_grads()
trainer = Seq2SeqTrainer(
    model=model,
    args=Seq2SeqTrainingArguments(
        output_dir=asked.output_dir,
        learning_rate=asked.learning_rate,
        lr_scheduler_type="cosine",
        warmup_ratio=0.05,
        num_train_epochs=1,
        per_device_train_batch_size=asked.per_device_train_batch_size,
        gradient_accumulation_steps=asked.gradient_accumulation_steps,
        logging_steps=5,
        save_strategy="epoch",
        report_to=[],
        remove_unused_columns=False,
        use_cpu=cpu,
        data_seed=42,
    ),
    template=template,
    train_dataset=dataset,
)
trainer.train()
