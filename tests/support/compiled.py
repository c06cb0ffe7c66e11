"""torch.compile without a break: the values and the gradients of the function that is compiled."""

import torch


def check_compiles(function, n, backend):
    """For n rows and for n + 1, which must compile anew and not break."""
    compiled = torch.compile(function, fullgraph=True, backend=backend)
    for rows in (n, n + 1):
        x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(n), requires_grad=True)
        y, want = compiled(x), function(x)
        assert torch.allclose(y, want, atol=1e-5)  # float32, fused in another order
        gradients = [torch.autograd.grad(z.square().sum(), x)[0] for z in (y, want)]
        assert torch.allclose(*gradients, atol=1e-4)
