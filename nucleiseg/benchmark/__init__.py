"""How fast nucleiseg is on this machine, with the machine's own ceilings beside it.

``nucleiseg benchmark`` prints it; `measure` gives it. What the figures mean:

- Images are in memory, drawn (`nucleiseg.benchmark.pictures`) or read from files before the clock
  starts. They are segmented at ``scale=1``, so that no image is looked at twice, or as ``scale``
  says.
- *Batch* is the number of images given to one `Segmenter.map`, which works on up to
  `nucleiseg.segmenter.IN_FLIGHT` of them at once; a batch of 1 is one `Segmenter.segment`. Latency
  is of the whole call.
- After a warm-up, calls are repeated in rounds until the coefficient of variation of the rounds'
  mean times is under 2.5 % (`timing.STEADY`), or a time limit is reached: then the row is not
  steady, and says so.
- The split is made of other calls, of one image each (`nucleiseg.benchmark.split`).
- Memory is the largest resident size while a row is measured, its loading of the model included,
  beyond what was there before, libraries and images (`nucleiseg.benchmark.memory`).
- A kernel's ceiling is ``memcpy`` between buffers far larger than the cache, with as many threads;
  what fits into the cache may be above it. The network's is what its instructions reach in
  registers alone, in plain sums; convolutions that take fewer products may be above it. Both are of
  the CPU; rows of a GPU have no ceiling.

The JSON file is an object:

| entry | what it holds |
|---|---|
| ``schema`` | 1 |
| ``time`` | UTC, ISO 8601 |
| ``machine`` | ``cpu`` (name, threads that may be used, instructions), ``gpu``, ``kernels`` (the level of instructions in use), ``system`` |
| ``versions`` | of ``nucleiseg``, ``python``, ``numpy`` |
| ``model`` | ``name``, ``version``, ``sha256``, ``multiply_adds_per_pixel`` |
| ``settings`` | ``images`` (the kind drawn, or the folder), ``scale``, ``seconds`` (limit of a row), ``quick`` |
| ``ceilings`` | for each number of ``threads``: ``copy_gb_per_s`` (read and written), ``int8_gmac_per_s`` (10^9 multiply-adds), ``int8_level`` (the instructions that made them) |
| ``kernels`` | for each ``name`` and ``threads``: ``size`` (pixels a side), ``bytes`` (moved), ``ms`` (the best), ``gb_per_s``, ``of_copy`` |
| ``rows`` | see below |

and each row:

| entry | what it holds |
|---|---|
| ``device``, ``threads``, ``input``, ``batch``, ``output`` | what was run; together they name the row |
| ``input_sha256`` | of shapes, types and pixels of the images |
| ``calls``, ``images`` | that were timed |
| ``pixels_per_image`` | their mean |
| ``variation``, ``steady`` | the coefficient of variation, and whether it is under 0.025 |
| ``images_per_s``, ``mpixel_per_s``, ``mm2_per_s`` | the last with pixels of 0.5 um |
| ``latency_ms`` | ``p50``, ``p90``, ``p99``, ``max`` of a call |
| ``split`` | shares of a call of one image: ``upload``, ``prepare``, ``infer``, ``assemble``, ``decode``, ``download``, ``other``; they add up to 1. null where a device's steps cannot be waited for |
| ``infer_gmac_per_s``, ``of_int8_peak`` | of the network within those calls, and its share of the ceiling; null where unknown |
| ``peak_memory_mb`` | 10^6 bytes; null where the system does not say |
"""  # noqa: E501 (tables)
