"""The inspector: a segmentation network that learns from synthetic defects in two stages (card 000, section 4).

model              networks: pixels → outputs; efficientnet_unet, fpn, unet, draem, of layers
encoder            pretrained encoders of fpn; encoder_file says which file its weights are
outputs            what a network gives, and the maps and scores that are read from it
loss               what is minimised
two_stage          which images a training step sees, as a pure function of the step; needs no torch
materials, feed    what those images are made of, and how; need no torch
loop               the optimiser and one step
checkpoint         weights and optimiser state as safetensors, progress as JSON
validation         synthetic images that training never saw: the best checkpoint, and the score that tells good from bad
predict            a finished detector: images → maps and scores
export, opened     the same as ONNX or TorchScript; a detector by its place, exported or not
inspection         photographs of any size → scores.csv and heat maps
"""
