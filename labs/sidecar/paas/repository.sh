# Makes the bare repository /git/site.git out of the folder /seed, once.
set -e
test ! -e /git/site.git/refs/heads/main || exit 0
rm -rf /git/site.git
git init -q --bare /git/site.git
cd /git/site.git
git symbolic-ref HEAD refs/heads/main
git config http.receivepack true # who is not known may push, too: it is published on loopback
git config user.name lab
git config user.email lab@example.org
git --work-tree=/seed add --all
git --work-tree=/seed commit -q -m "the first page"
git tag release
