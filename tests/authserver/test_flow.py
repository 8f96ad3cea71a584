"""The authorization server's ways that lead somewhere."""

from tests.authserver.flow import Flow, proof_of, said


def test_a_person_lets_a_client_in(flow: Flow) -> None:
    page = flow.page()
    assert page.status_code == 200, page.content
    answer = flow.answer(page)
    told = said(answer)
    assert told["state"] == "s-1"
    assert told["iss"] == "http://hub.test"
    tokens = flow.redeem(told["code"]).json()
    proof = proof_of(tokens["access_token"])
    assert proof is not None
    assert proof.principal.org.slug == "north"
    again = flow.refresh(tokens["refresh_token"])
    assert again.status_code == 200, again.content
    assert proof_of(tokens["access_token"]) is None
    assert proof_of(again.json()["access_token"]) is not None
