"""The one training loop: phases, optimisers, schedules, precision, and the reaction to whatever goes wrong."""
