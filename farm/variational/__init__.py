"""The parts of ``farm.methods.variational`` (card 002: Lee and Choi, CVPR 2024, arXiv 2403.06247), one idea a file.

words.py (what may stand in a prompt)  prompts.py (the prompt nearest to the normals)  light.py (harmless changes of a
photograph)  gaussian.py (the normals' latents as a distribution)  perceptual.py (LPIPS-style distance)  guide.py (CLIP
with gradients)  judge.py (the score of an image)  optimise.py (latents led by text)  gates.py (what is refused)
"""
