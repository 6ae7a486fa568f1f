"""Every verb, a table of contents by what one wants to do: `./inv` prints it, `inv --help VERB` explains one."""

from __future__ import annotations

from invoke.collection import Collection

from gpulab.verbs import develop, hosts, images, labs, reports, serving, work

GROUPS = {
    "start": [labs.labs, labs.lab, labs.show, hosts.doctor],
    "labs": [
        labs.rehearse, labs.trace, labs.curriculum, labs.plan, labs.runs, labs.judge, labs.resume, labs.attach,
        labs.cancel, labs.queue,
    ],
    "reports": [reports.report, reports.compare, reports.watch, reports.site],
    "work": [work.shell, work.notebook, work.ui, work.pr_draft],
    "serving": [serving.serve, serving.served, serving.stop, serving.eval, serving.bench],
    "hosts": [
        hosts.hosts, hosts.top, hosts.trust, hosts.provision, hosts.verify, hosts.accept, hosts.drift,
        hosts.fingerprint, hosts.bundle,
    ],
    "images": [images.build, images.images, images.push, images.pull, images.save, images.load],
    "develop": [develop.stacks, develop.lock, develop.lint, develop.test, develop.testbed, labs.new],
}  # fmt: skip

namespace = Collection(*(verb for group in GROUPS.values() for verb in group))
