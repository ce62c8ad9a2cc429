# Have the compiler's wrapper (cc) start gcc through ccache, with LEFT/objects as its only store.
#
# ccache names an object by the arguments and the preprocessed text, which holds all that the compiler reads. It is not to
# trust what it remembers of headers (its direct mode), and it dates what it uses.
export LAUNCHER=ccache CCACHE_REMOTE_STORAGE="file:$LEFT/objects|layout=flat|update-mtime" CCACHE_REMOTE_ONLY=1
export CCACHE_NODIRECT=1 CCACHE_DIR=/tmp/ccache CCACHE_CONFIGPATH=/dev/null CCACHE_NOSTATS=1
export CCACHE_COMPILERCHECK=content
