"""Objectives on features inside two networks, from many papers: maps, relations between samples, factors, contrast.

p and "teacher" are the teacher's side, which the caller computes under `no_grad` or detaches. May import: methods.
"""
