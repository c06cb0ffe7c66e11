"""Deliberate faults in Tucker and CP: (file, old text, new text).  Each must make a test fail."""

MUTANTS = [
    ("stage1_scipy/tensor.py", "x.transpose(mode, *others)", "x.transpose(mode, *others[::-1])"),
    ("stage1_scipy/tucker.py", "for _ in range(sweeps):", "for _ in range(0):"),
    (
        "stage1_scipy/tucker.py",
        "core = _kronecker(bases).T @ x.reshape(-1)",
        "core = 1.001 * _kronecker(bases).T @ x.reshape(-1)",
    ),
    ("stage1_scipy/cp.py", "now = units[mode] * weights\n", "now = units[mode]\n"),
    ("stage1_scipy/cp.py", "terms, key=lambda term: -term[0]", "terms, key=lambda term: term[0]"),
    ("stage1_scipy/cp.py", "if excess(low) > 0:", "if excess(low) > 1e9:"),
    (
        "stage2_numpy/tensor.py",
        "np.tensordot(matrix, x, (1, mode)), 0, mode",
        "np.tensordot(matrix, x, (1, mode)), 0, 0",
    ),
    ("stage2_numpy/tucker.py", "x if mode == skip else", "x if mode is skip is None else"),
    ("stage2_numpy/cp.py", "if mode != skip]", "]"),
    ("stage2_numpy/cp.py", "np.where(norms > 0, factor, before)", "factor"),
    ("stage2_numpy/cp.py", "(np.vdot(m, b) / square if square > 0 else x.dtype.type(1))", "x.dtype.type(1)"),
    (
        "stage2_numpy/cp.py",
        "(c * (g + 2 * middle) / (g + middle) ** 2).sum() >= fit",
        "(c * (g + middle) / (g + middle) ** 2).sum() >= fit",
    ),
    (
        "stage3_torch/tensor.py",
        "return x @ lifted.mT if mode == modes - 1 else lifted @ x",
        "return x @ lifted.mT if mode == modes - 1 else (lifted @ x).detach()",
    ),
    ("stage3_torch/tensor.py", "syrk(unfold(x, mode, batch).double())", "syrk(unfold(x, mode, batch))"),
    ("stage3_torch/tensor.py", "across.mT, syrk(b)", "across.detach().mT, syrk(b)"),
    ("stage3_torch/tensor.py", "torch.where(closed, math.inf, gap)", "gap"),
    ("stage3_torch/tensor.py", "first = 0 if columns else rank", "first = rank"),
    ("stage3_torch/tucker.py", "if sweeps == 0 or i > places[0]}", "if sweeps == 0 or i >= places[-1]}"),
    ("stage3_torch/cp.py", "weights = weights * scale[..., None].to(weights.dtype)\n", "pass\n"),
    ("stage3_torch/cp.py", "descending=True", "descending=False"),
    ("stage3_torch/cp_sweep.py", "grams[mode] = units[mode] @ units[mode].mT\n", "pass\n"),
    ("stage3_torch/cp_sweep.py", "khatri_rao(units[first:cut])", "khatri_rao(units[first:cut]).detach()"),
    ("stage3_torch/cp_steps.py", "alpha=ridge", "alpha=0"),
    ("stage3_torch/cp_steps.py", "mu = low + (fit - fit.detach())", "mu = low - (fit - fit.detach())"),
]
