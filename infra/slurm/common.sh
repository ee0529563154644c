# Sourced by the job scripts, which have set XPROMPT_REPO: where the code is, and what none of them takes.
# shellcheck shell=bash
#   XPROMPT_VENV   the virtual environment in which it is installed ($XPROMPT_REPO/.venv)

refuse() {
  echo "${SLURM_JOB_NAME:-xprompt}: $1" >&2
  exit 2
}

XPROMPT_VENV=${XPROMPT_VENV:-$XPROMPT_REPO/.venv}
[[ -x $XPROMPT_VENV/bin/python ]] ||
  refuse "there is no $XPROMPT_VENV/bin/python: set XPROMPT_VENV to the virtual environment in which xprompt is installed"
(($#)) || refuse "nothing is to be run: name it after the script, as its first lines show"
# All tasks of an array would be writers of one OUT, of which there can be one at a time: the others would fail or wait.
# The nodes of one job share the work of one dataset; of another dataset, another job makes it.
[[ -z ${SLURM_ARRAY_JOB_ID:-} ]] ||
  refuse "a job array is not taken: one OUT has one writer. Ask for more nodes (--nodes), or submit a job for each OUT"

export PATH=$XPROMPT_VENV/bin:$PATH
export PYTHONPATH=$XPROMPT_REPO${PYTHONPATH:+:$PYTHONPATH}
