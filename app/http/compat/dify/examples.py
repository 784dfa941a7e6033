"""Examples of Dify's requests to its external knowledge."""

REQUESTS = {
    "A question": {
        "knowledge_id": "manuals",
        "query": "How hot is the kiln?",
        "retrieval_setting": {"top_k": 4, "score_threshold": 0.5},
        "metadata_condition": {
            "logical_operator": "and",
            "conditions": [{"name": "year", "comparison_operator": ">", "value": 2023}],
        },
    },
    "中文提问": {
        "knowledge_id": "hetong",
        "query": "租金逾期多久可以解除合同？",
        "retrieval_setting": {"top_k": 4, "score_threshold": 0.0},
    },
}

ANSWERS = {
    "A record": {
        "records": [
            {
                "content": "The kiln is held at 1280 degrees for an hour. It cools overnight with the door shut.",
                "score": 0.982,
                "title": "Operating the kiln",
                "metadata": {
                    "year": 2024,
                    "machine": "kiln",
                    "document_id": "kiln",
                    "chunk_id": "c0c60bb85358c74f86363c18c8419505",
                    "page": None,
                    "score_name": "rerank",
                    "reranked": True,
                },
            }
        ]
    },
    "中文回答": {
        "records": [
            {
                "content": "第三条 租金按季支付，每季首月五日前付清。逾期超过三十日的，出租方有权解除合同。",
                "score": 0.967,
                "title": "厂房租赁合同",
                "metadata": {
                    "year": 2024,
                    "document_id": "zulin-2024-017",
                    "chunk_id": "5b0e1f0c1fb7a64dfe0e5d4b28b1c9a7",
                    "page": 2,
                    "score_name": "rerank",
                    "reranked": True,
                },
            }
        ]
    },
}
