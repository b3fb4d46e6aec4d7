"""The configs that ship; a package so that an installed farm finds its demo."""
