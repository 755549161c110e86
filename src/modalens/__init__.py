"""modalens: how much does each modality matter to a multimodal model, and what happens when one is missing?"""

__version__ = "0.1.0"
