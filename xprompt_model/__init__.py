"""The model: vocabulary, sequence layout, mask, transformer, VQ tokenizer, generation."""
