"""No kernel of its own: nothing a GAN step computes beside its networks is worth one.

Profiled at 28x28, batch 64, fp32, one CPU core (torch 2.13): convolutions and their backward take 73 % of a training
step, optimisers and normalisation most of the rest; the loss's own arithmetic, on 192 logits, about 1 %.
What pays instead is in `loss.py` and in the trainer: one generator pass for both phases, real and fake pictures in one
pass of D, no gradient that nobody uses (`examples/bench_gan_step.py` measures it against the common loop).
"""
