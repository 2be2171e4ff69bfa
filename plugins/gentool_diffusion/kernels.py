"""stub during bench"""
from torch.nn import functional as F
def group_norm_silu(x, weight, bias, groups, eps=1e-5):
    return F.silu(F.group_norm(x, groups, weight, bias, eps))
