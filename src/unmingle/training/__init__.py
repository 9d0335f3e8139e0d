"""Training: recipes, losses, schedules, and the loop that turns them into weights.

Reading a recipe needs no torch. Only `trainer.py` knows the training framework.
"""
