"""The inspector: a segmentation network that learns from synthetic defects in two stages (card 000, section 4).

model, unet        networks: pixels → logits of (normal, defect) for each pixel
loss               what is minimised
two_stage          which images a training step sees, as a pure function of the step; needs no torch
feed               makes those images; needs no torch
loop               the optimiser and one step
checkpoint         weights and optimiser state as safetensors, progress as JSON
predict            a finished detector: images → maps and scores
"""
